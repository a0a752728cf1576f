"""What the stage is made of."""
