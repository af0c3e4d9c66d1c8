"""What skene talks to: one file or folder for each outside thing, imported only where it is used."""
