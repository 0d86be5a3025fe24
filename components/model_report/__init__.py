"""The review page and the model card: what a person looks at before a model goes out."""
