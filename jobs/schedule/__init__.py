"""Scheduled jobs: systemd user timers or cron."""
