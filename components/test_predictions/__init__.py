"""What the exported model answers to every test image, on Beam; Evaluator and review read it."""
