module frostline.example/client

go 1.19
