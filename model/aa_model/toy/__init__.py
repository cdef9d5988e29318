"""What only puppets need."""
