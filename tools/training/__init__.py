"""What the tools that train, import and judge heads are made of."""

import os

# Before torch is loaded. Its threads would wait for each other at full speed, which beside other work makes training
# several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
