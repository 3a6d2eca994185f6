"""The file is read here, with torch or without it, and what it says is bounded before it is believed.

`archive` opens it once and finds its members; then, each step only after the one before:

1. `header`: `data.pkl` has at most 64 MiB and the bytes of its checksum.
2. `machine`: it is a program of 30 known opcodes, run in at most 2,000,000 steps and 40 for each tensor. A name stands
   for itself, a call is one of the few in `forms`; memory grows with the length of the pickle, whatever numbers it has.
3. `structure`: the walk through the result ends, at most 64 levels deep, and meets tensors and plain values only.
4. `header`: every tensor lies within its storage, every storage has its bytes, and `runner.json` says the same.
5. `building`: tensors are made of the bytes that are held against the checksums, in memory of their own.

Never is anything imported or called that the file names, and never does `torch.load` or `pickle` read it.
"""
