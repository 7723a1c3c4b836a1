"""Where other tools put photos and labels: which label file belongs to which photo."""
