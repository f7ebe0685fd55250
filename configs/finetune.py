"""Fine-tuning of trained weights on a folder of photographs, train/CLASS/PHOTO.

python -m resnet_alexnet.main --config=configs/finetune.py --workdir=runs/finetune --config.finetune.weights=FILE

Data       --config.dataset.data_dir=DIR, the folder
Weights    a weight file or a run folder; the model follows a colon, configs/finetune.py:alexnet_owt (default: resnet18)
Variants   train only the new last layer: --config.finetune.frozen="('stem','stages')"; smaller learning rate below:
           --config.finetune.lr_multipliers="('stem=0.1','stages=0.1')"
Hardware   one device; on a CPU, frozen layers save the most time
Time       not measured
Published  none; [K12] table 2 has networks trained first on all of ImageNet, then on the 1,000 classes: top-1 / top-5
           error 39.0 / 16.6 % on the validation set, with one more layer; 40.7 / 18.2 % without that training
"""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "resnet18") -> ConfigDict:
    config = default.get_config()
    config.model.name = model
    normalized = model.startswith(("resnet", "plain", "cifar_"))
    if normalized:
        config.model.bn_group = "sync"  # the same result on any number of devices
    config.dataset.name = "image_folder"
    config.augment.crop = "random_resized_crop"
    config.augment.pad = 0
    config.batch_size = 64
    config.num_steps = 2000  # 26 epochs of 5,000 photographs
    # A tenth of the learning rate from scratch (Girshick et al. 2014, "Rich feature hierarchies", section 2.3).
    config.optim.learning_rate = 0.01 if normalized else 0.001
    config.optim.reference_batch_size = 64
    config.optim.weight_decay = 1e-4 if normalized else 5e-4  # [H15] section 3.4, [K12] section 5
    config.schedule.name = "cosine"
    config.eval.every_steps = config.checkpoint.every_steps = 200
    config.log.every_steps = 20
    return config
