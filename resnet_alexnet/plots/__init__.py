"""The plots and pictures that commands write. The only package that imports matplotlib."""
