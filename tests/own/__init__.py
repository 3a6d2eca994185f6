"""What users bring, as these tests bring it: data, models, learners and optimizers of their own."""
