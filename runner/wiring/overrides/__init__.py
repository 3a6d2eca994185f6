"""What is typed: what each override names, and what a mistaken one may have meant."""
