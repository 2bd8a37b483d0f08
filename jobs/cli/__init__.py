"""The command line: commands, options, the config file."""
