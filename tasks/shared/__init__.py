"""What the embedded models have in common: CNN, preparation, bundle folder, training run."""
