"""The Trainer's user code: input, model, signatures, run_fn. Imports nothing by itself."""
