"""Pretrained networks: fetched, checked, loaded into Keras and cut in trunk and upper blocks."""
