"""What every command shares: flags, exit codes, progress, interrupts."""
