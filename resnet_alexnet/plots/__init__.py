"""Every picture that a command writes. The only room that imports matplotlib."""
