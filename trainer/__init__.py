"""The Trainer's and Tuner's user code: input, model, training loop, signatures."""
