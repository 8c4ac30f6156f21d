"""What every test shares. Tests that need a file of ../shared skip with the reason when it is absent."""

import os

os.environ["MPLBACKEND"] = "Agg"  # no window, on any machine
