"""What every request passes before any handler: protocol, body size, cross-site checks."""
