"""What runs left behind: their list, comparison, TensorBoard, and removal."""
