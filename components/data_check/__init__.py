"""Looks for faults in a data set: copies, wrong labels, unusual images, too few of them."""
