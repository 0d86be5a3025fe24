"""How the data-parallel steps run on Beam: ranges of examples, workers, runners."""
