import os

print("about to die")
os._exit(9)
