"""A model of a training's memory, time and cost on a cluster, fitted on the authors' trials and tested on others."""
