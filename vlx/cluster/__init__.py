"""One job over several processes or machines, by Ray Data; nothing here imports Ray before it is asked for.

A worker loads the model once and explains units of a few pictures; the driver, which is the process that was started,
writes what arrives, so that manifest, pages, table and gallery are those of one machine.

>>> with cluster.connected("auto"):
...     elsewhere = partial(cluster.explained, plan, cluster.Pool(cluster.workers(None)))
...     summary = folder.run(manifest, chosen.items, explained, elsewhere=elsewhere)
"""

from vlx.cluster.dissecting import Dissecting, Dissection
from vlx.cluster.explaining import Plan, explained
from vlx.cluster.mapping import Pool
from vlx.cluster.session import connected, workers

__all__ = ["Dissecting", "Dissection", "Plan", "Pool", "connected", "explained", "workers"]
