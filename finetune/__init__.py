"""Fine-tuning: a training file in, a proven model out."""
