"""What compiling yields: options, the compiled program, its inputs, and the files that keep it."""
