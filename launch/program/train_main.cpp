// lacuna-train: the verbs that need torch and MPI. Started by lacuna, in the same process.
#include "launch/dispatch.h"
#include "launch/verb.h"

int main(int argc, char** argv) { return lacuna::run_program(lacuna::train_verbs(), argc, argv); }
