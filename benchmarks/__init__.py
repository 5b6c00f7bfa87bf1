"""Side-by-side measurements: one small module each, `python -m benchmarks.NAME`; all of them with `python -m benchmarks`.

Machines differ and are shared, so a figure that has one comes with a floor measured in the same run: the bare thing that the work cannot
be cheaper than. CPU seconds are the child's own, as the operating system counts them; of several runs the median is taken.
"""
