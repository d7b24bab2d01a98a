module sluice/benchmarks

go 1.21
