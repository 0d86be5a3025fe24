"""InceptionV3 from TF-Hub: found, checked, loaded into Keras and cut. Imports nothing by itself."""
