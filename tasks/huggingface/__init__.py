"""What adapters for models of Hugging Face ``transformers`` share."""
