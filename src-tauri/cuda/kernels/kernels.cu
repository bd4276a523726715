// Everything in one unit, so that a device's code is one image.
#include "attention.cu"
#include "floats.cu"
#include "pack.cu"
#include "product.cu"
#include "prompts.cu"
#include "rows.cu"
