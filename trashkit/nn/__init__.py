"""Networks: models, losses, augmentation, training and prediction. torch lives here and nowhere else."""
