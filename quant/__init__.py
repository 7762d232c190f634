"""What is quantized, and how: recipes, integer codes and scales, quantized checkpoints."""
