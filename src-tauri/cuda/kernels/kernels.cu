// Everything in one unit, so that a device's code is one image.
#include "attention.cu"
#include "few.cu"
#include "floats.cu"
#include "many.cu"
#include "pack.cu"
#include "prompts.cu"
#include "rows.cu"
