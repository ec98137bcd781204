"""The step `quality`: what is measured of a text, the rules and their thresholds, and the step itself."""
