"""What keeps agents running: deployments, the runner, schedules, leases, commands."""
