"""Read a checkpoint file, with torch or without it, within bounds; the file's code never runs.

`archive` opens the file once and finds its members. Then, in this order:

1. `header`: `data.pkl` has at most 64 MiB and matches its checksum.
2. `pickle_machine`: it is a program of 30 known opcodes, run in at most 2,000,000 steps plus 40 for each tensor. A name
   becomes a stand-in, a call is one of the few in `forms`, and memory is bounded by the length of the pickle.
3. `structure`: the walk through the result ends, is at most 64 levels deep, and meets only tensors and plain values.
4. `header`: every tensor lies within its storage, every storage has its bytes, and `runner.json` agrees.
5. `building`: tensors are built from bytes that match their checksums, in their own memory.

Nothing that the file names is imported or called, and neither `torch.load` nor `pickle` reads it.
"""
