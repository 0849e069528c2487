from pneumo_batch.cli import main

main()
