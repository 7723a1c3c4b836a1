"""What a score is worth: two predictions compared, every submission recorded, the hidden score estimated."""
