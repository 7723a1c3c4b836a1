"""Other tools' formats, one file each: annotations in and out, predictions in, TACO's photos from the web."""
