"""llama.cpp inside the xllamacpp wheel, as a supervised child process, and the demo model."""
