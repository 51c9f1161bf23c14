"""What rendered rooms, and the small model that is trained on them, are made of."""
