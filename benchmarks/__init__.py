"""The figures the README quotes, measured again by `make bench`: what belongs here measures, and asserts nothing."""
