"""What PIL makes of crops. In: the side of the pictures, and on stdin per picture left, top, width, height (u32, little endian)
and its pixels. Out: on stdout the pixels of each crop, resized to the picture's side. Run by the tests of deliver/augment.rs."""
import sys

import numpy as np
from PIL import Image

side = int(sys.argv[1])
data = sys.stdin.buffer.read()
step = 16 + side * side * 3
results = []
for start in range(0, len(data), step):
    left, top, width, height = np.frombuffer(data, "<u4", 4, start)
    pixels = np.frombuffer(data, np.uint8, side * side * 3, start + 16).reshape(side, side, 3)
    crop = Image.fromarray(pixels).crop((left, top, left + width, top + height))
    results.append(crop.resize((side, side), Image.BILINEAR).tobytes())
sys.stdout.buffer.write(b"".join(results))
