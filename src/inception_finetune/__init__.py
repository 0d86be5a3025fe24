"""Fine-tune an ImageNet network on your own pictures and put it into production.

The packages are the folders of the repository's root, which are linked here, so that an installed
copy takes one name on the import path and not four that other projects have as well.
"""
