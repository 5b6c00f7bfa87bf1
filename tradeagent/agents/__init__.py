"""What an agent keeps: definition and versions, journal, learnings, canvas, snapshots, sessions, all as files a person can read and edit.

Import from the modules: `folder` and `definition` load pydantic, the others are light.
"""
