"""What damaged values were meant to be: readings of shapes, ids and fields that other values of the file prove."""
