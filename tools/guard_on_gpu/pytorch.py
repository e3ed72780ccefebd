"""What a framework does with a card: prints what it was told of the memory, and numbers that must not depend on the guard."""

import time

import torch

device = torch.device("cuda")
free, total = torch.cuda.mem_get_info()
print(f"mem_get_info: free {free >> 20} MiB of {total >> 20} MiB, total_memory {torch.cuda.get_device_properties(0).total_memory >> 20} MiB")

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(1024, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 10)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
inputs, labels = torch.randn(512, 1024, device=device), torch.randint(0, 10, (512,), device=device)
for _ in range(50):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(inputs), labels)
    loss.backward()
    optimizer.step()
print(f"training loss {loss.item():.6f}")

a, b = torch.randn(4096, 4096, device=device), torch.randn(4096, 4096, device=device)
for _ in range(3):
    c = a @ b
torch.cuda.synchronize()
begin, count = time.time(), 0
while time.time() - begin < 4:
    for _ in range(8):
        c = a @ b
    torch.cuda.synchronize()
    count += 8
print(f"matmul checksum {c.double().abs().mean().item():.3f}, {count / (time.time() - begin):.1f} per second")

replays = torch.zeros(1, device=device)
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    d = a @ b
    replays += 1
for _ in range(20):
    graph.replay()
torch.cuda.synchronize()
print(f"graph replays {replays.item():.0f}")

pieces = []
try:
    while True:
        pieces.append(torch.empty(1 << 30, dtype=torch.uint8, device=device))
except torch.cuda.OutOfMemoryError as error:
    print(f"out of memory after {len(pieces)} GiB: {str(error).split('.', maxsplit=1)[0]}")
